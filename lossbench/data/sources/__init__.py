"""Sources: folders, archives and URLs."""
