"""What models take: multiply-adds and memory, counted on the modules or in closed form."""
