//! Links, addresses, routes and nftables elements over a blocking netlink socket, one send per batch.
