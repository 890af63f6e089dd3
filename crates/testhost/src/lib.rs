//! Tests on hosts of their own: namespaces, daemons, registry, and a comparison with before.
