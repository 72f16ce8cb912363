"""What every HeartGuard service shares. Imports no service."""
