"""What only a deployment on AWS needs: its template and stack, push over HTTP, functions."""
