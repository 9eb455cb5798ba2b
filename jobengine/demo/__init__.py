"""`jobengine demo`: hashes every file of a folder with workers that get killed, and proves it."""
