-- The order of `seq` is that in which answers were stored. `ends` is when one is of no use any more, in milliseconds since
-- 1970; `weight` is what it is charged for in memory.
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    integration TEXT NOT NULL,
    operation TEXT NOT NULL,
    ends INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    digest BLOB NOT NULL,
    record BLOB NOT NULL
) STRICT;

CREATE INDEX by_scope ON entries (integration, operation);
CREATE INDEX by_end ON entries (ends);

CREATE TABLE tags (
    tag INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (tag, entry)
) STRICT, WITHOUT ROWID;

CREATE INDEX tags_by_entry ON tags (entry);

CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
    DELETE FROM tags WHERE entry = old.seq;
END;
