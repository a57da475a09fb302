//! Messages and their bytes: dialects and framing. No sockets.
