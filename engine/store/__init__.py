"""What is kept, on SQLite and PostgreSQL from the same code: schema, migrations, reading and writing."""
