"""What several tests share: samples, references, tolerances, stand-ins."""
