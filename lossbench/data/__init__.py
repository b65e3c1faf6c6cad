"""From folders to numbers, with numpy and Pillow alone: pairing, decoding, the plan, counting."""
