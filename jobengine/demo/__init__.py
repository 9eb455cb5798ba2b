"""`jobengine demo`: hash every file of a folder with workers that get killed, and prove the result."""
