-- Times are milliseconds since 1970. `since` is what the age of an entry is counted from: its creation, or when it
-- was last revived. `digest` tells whether a key comes again with the same call.
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    integration TEXT NOT NULL,
    operation TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL,
    caller TEXT,
    params TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'dead')),
    created INTEGER NOT NULL,
    since INTEGER NOT NULL,
    next_try INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    finished INTEGER,
    status INTEGER,
    content_type TEXT,
    answer BLOB,
    cut INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    size INTEGER NOT NULL,
    UNIQUE (integration, operation, key)
) STRICT;

CREATE INDEX by_lane ON entries (state, integration, operation, next_try);
CREATE INDEX by_end ON entries (state, finished);

-- Kept by triggers, in the same transaction as what they count: a bound is checked without visiting every entry.
CREATE TABLE levels (
    integration TEXT NOT NULL,
    state TEXT NOT NULL,
    entries INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    PRIMARY KEY (integration, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
    INSERT INTO levels VALUES (new.integration, new.state, 1, new.size)
        ON CONFLICT DO UPDATE SET entries = entries + 1, octets = octets + new.size;
END;

CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
    UPDATE levels SET entries = entries - 1, octets = octets - old.size
        WHERE integration = old.integration AND state = old.state;
END;

CREATE TRIGGER entry_moved AFTER UPDATE OF state, size ON entries BEGIN
    UPDATE levels SET entries = entries - 1, octets = octets - old.size
        WHERE integration = old.integration AND state = old.state;
    INSERT INTO levels VALUES (new.integration, new.state, 1, new.size)
        ON CONFLICT DO UPDATE SET entries = entries + 1, octets = octets + new.size;
END;
