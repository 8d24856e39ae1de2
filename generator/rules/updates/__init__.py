"""Updates: how weights move along gradients. A file per update or close family."""
