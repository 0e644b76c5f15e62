"""The outdoor world: generated ground, a skid-steer rover on MuJoCo, and sensors that need no OpenGL."""
