"""Audio files, manifests, trial lists and the datasets made of them."""
