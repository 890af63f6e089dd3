//! What runs between clone and exec: a loop over the init plan that neither allocates nor panics.
