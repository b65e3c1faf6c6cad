"""Losses over the epochs of a training: folders of epochs, evaluated once, and watched."""
