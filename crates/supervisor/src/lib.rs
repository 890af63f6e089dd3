//! Containers, tasks and events over shims: the use cases of docker-containerd.
