//! Wire types of Docker's Engine API 1.24 to 1.51, as the daemon answers and the client reads them.
