"""The parts that only a deployment on AWS needs: template and stack, push, functions."""
