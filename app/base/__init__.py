"""What every room speaks: readings, checkpoints, instants, errors, text, log."""
