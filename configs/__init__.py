"""Presets that ship with lossbench, one YAML file each."""
