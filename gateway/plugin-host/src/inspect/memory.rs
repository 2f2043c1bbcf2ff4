//! How much memory an instance starts with, and whether Rust made it.
//!
//! Read from the core modules inside a component; imported memories are counted where they are defined.

use wasmparser::{BinaryReaderError, Parser, Payload, ProducersSectionReader};

/// What the core modules say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryFacts {
    /// Initial pages over all memories.
    pub(super) pages_min: u64,
    /// A `producers` section names Rust as a language.
    pub(super) from_rust: bool,
}

pub(super) fn facts(component: &[u8]) -> Result<MemoryFacts, BinaryReaderError> {
    let mut facts = MemoryFacts::default();
    // `parse_all` walks into nested modules and components by itself.
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::MemorySection(memories) => {
                for memory in memories {
                    facts.pages_min = facts.pages_min.saturating_add(memory?.initial);
                }
            }
            Payload::CustomSection(section) if section.name() == "producers" => {
                let reader = wasmparser::BinaryReader::new(section.data(), section.data_offset());
                facts.from_rust |= names_rust(ProducersSectionReader::new(reader)?)?;
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn names_rust(producers: ProducersSectionReader<'_>) -> Result<bool, BinaryReaderError> {
    for field in producers {
        let field = field?;
        for value in field.values {
            if field.name == "language" && value?.name == "Rust" {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_all_core_modules_add_up() {
        let text = r#"(component (core module (memory 3)) (component (core module (memory 2 9))))"#;
        let facts = facts(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(facts, MemoryFacts { pages_min: 5, from_rust: false });
    }

    #[test]
    fn rust_is_known_by_its_producers_section() {
        let text = r#"(module (@producers (language "Rust" "1.96")) (memory 17))"#;
        let facts = facts(&wat::parse_str(text).unwrap()).unwrap();
        assert_eq!(facts, MemoryFacts { pages_min: 17, from_rust: true });
    }
}
