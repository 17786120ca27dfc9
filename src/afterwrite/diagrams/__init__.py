"""Pictures of an app's flow, drawn from its declaration alone."""
