-- What userinfo shows of a person beside the account itself; one row a user.
CREATE TABLE profiles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL,
    gender TEXT NOT NULL DEFAULT 'unknown',
    birthday_at INTEGER NULL,
    bio TEXT NULL,
    location TEXT NULL,
    website TEXT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX profiles_user_id ON profiles (user_id);
