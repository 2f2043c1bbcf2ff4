//! `fan_out` of an operation.

use super::{Key, Kind, Table, key};

pub(super) const FAN_OUT: Key = key(
    "fan_out",
    Kind::List(&BRANCH),
    "Makes the operation a fan-out: 1 to 16 other operations, called side by side. Beside it stand only `description`, \
     `params`, `timeout`, `cache`, `fallback` and `fallback_on`; everything else is the branches' own. Absent: the \
     operation is a call of its own.",
);

static BRANCH: Kind = Kind::AnyOf(&[OPERATION, Kind::Table(&BRANCH_TABLE)]);

const OPERATION: Kind =
    Kind::Pattern("^[A-Za-z][A-Za-z0-9_-]{0,63}(\\.[A-Za-z][A-Za-z0-9_-]{0,63})?$|\\$\\{");

static BRANCH_TABLE: Table = Table {
    name: "branch",
    title: "fan_out[]",
    about: "A branch with parameters of its own; a bare text is a branch that gets the call's parameters.",
    keys: &[
        key(
            "operation",
            OPERATION,
            "The operation, called whole: `integration.operation`, or `operation` of the same integration. Fan-outs and \
             ladders together nest at most 3 deep and never in a circle.",
        )
        .required(),
        key(
            "params",
            Kind::JsonTable,
            "Its parameters; texts, however deep, may hold `{placeholders}` for the call's own, and are left out where one of those is absent. Absent: the call's parameters.",
        ),
    ],
};
