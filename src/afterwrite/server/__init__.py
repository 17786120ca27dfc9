"""The wire: AWS's JSON protocols over HTTP."""
