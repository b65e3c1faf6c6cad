"""Planning: how the bytes of a run become numbers, decided once."""
