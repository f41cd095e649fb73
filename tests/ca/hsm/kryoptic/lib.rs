//! Nothing: the package exists to name what is built.
