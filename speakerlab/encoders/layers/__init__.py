"""Parts that two or more encoders share."""
