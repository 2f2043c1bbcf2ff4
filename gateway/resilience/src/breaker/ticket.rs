//! How a call got past the circuit, and what may be decided about it without the lock.
//!
//! A ticket is worth what its generation is worth: once the circuit has changed, it is void. A gate is the circuit's
//! answer to "may anyone pass?", small enough for one atomic number.

/// How a call got in. The generation makes it void once the circuit has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    generation: u64,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Passed a closed circuit.
    Counted,
    /// Probes a half-open one.
    Probe,
    /// Would have been refused, had the mode not been `observe`.
    Shadow,
    /// The breaker is off.
    Unwatched,
}

/// What may be decided without the lock, packed into one atomic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Closed; a quick success is counted without the lock too.
    Counted(u64),
    /// Closed; but every outcome matters to the rule that trips it.
    Heeded(u64),
    /// Off.
    Unwatched(u64),
    /// Not closed: the circuit decides.
    Ask,
}

impl Ticket {
    pub(super) const fn new(generation: u64, role: Role) -> Self {
        Self { generation, role }
    }

    pub(super) const fn counted(generation: u64) -> Self {
        Self { generation, role: Role::Counted }
    }

    pub(super) const fn unwatched(generation: u64) -> Self {
        Self { generation, role: Role::Unwatched }
    }

    pub(super) const fn generation(self) -> u64 {
        self.generation
    }

    pub(super) const fn role(self) -> Role {
        self.role
    }

    pub(super) const fn is_probe(self) -> bool {
        matches!(self.role, Role::Probe)
    }

    pub(super) const fn is_unwatched(self) -> bool {
        matches!(self.role, Role::Unwatched)
    }
}

impl Gate {
    /// Two bits of the number say which gate it is.
    pub(super) const GENERATION_MAX: u64 = u64::MAX >> 2;

    pub(super) const fn pack(self) -> u64 {
        match self {
            Self::Counted(generation) => generation << 2,
            Self::Unwatched(generation) => generation << 2 | 1,
            Self::Heeded(generation) => generation << 2 | 2,
            Self::Ask => 3,
        }
    }

    pub(super) const fn unpack(packed: u64) -> Self {
        match packed & 3 {
            0 => Self::Counted(packed >> 2),
            1 => Self::Unwatched(packed >> 2),
            2 => Self::Heeded(packed >> 2),
            _ => Self::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_comes_out_of_its_number_as_it_went_in() {
        for generation in [0, 1, 12_345, Gate::GENERATION_MAX] {
            for gate in [Gate::Counted, Gate::Heeded, Gate::Unwatched, |_| Gate::Ask] {
                let gate: Gate = gate(generation);
                assert_eq!(Gate::unpack(gate.pack()), gate);
            }
        }
    }
}
