//! Long messages sealed in chunks: bounded memory, seek, nothing released unchecked.
