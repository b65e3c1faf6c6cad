"""What a loss may ask for, each computed once per sample however many losses ask."""
