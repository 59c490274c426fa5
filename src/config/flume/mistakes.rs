//! Mistakes in a properties file, each with exactly what is said about it.
