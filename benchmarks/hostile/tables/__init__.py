"""Mutated tables, shards and records: what data sets lie in, and what a stopped run goes on from."""
