//! The image: how it is built, and whether the program can live in it.
