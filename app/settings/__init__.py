"""From config.yaml and the environment to settings, every problem at once."""
