import numpy as np

from agents.preferences.pebble import StateEntropy


def test_a_state_is_worth_its_distance_to_the_kth_nearest_neighbour():
    reward = StateEntropy(k=2)
    known = np.array([[0.0], [1.0], [3.0], [10.0]], dtype=np.float32)
    assert (reward(known, known) == 0).all(), "nothing to compare with yet"
    distances = np.array([2.0, 6.5])  # from 2.0: 1, 1, 2, 8; from 9.5: 0.5, 6.5, 8.5, 9.5
    distances[0] = 1.0
    given = reward(np.array([[2.0], [9.5]], dtype=np.float32), known[:2])
    assert np.allclose(given / given[0], distances / distances[0])


def test_new_places_are_worth_more_than_known_ones():
    rng = np.random.default_rng(0)
    reward = StateEntropy(k=5)
    for _ in range(50):
        reward(rng.normal(size=(8, 3)).astype(np.float32), np.zeros((8, 1)))
    near, far = reward(np.array([[0, 0, 0], [9, 9, 9]], dtype=np.float32), np.zeros((2, 1)))
    assert far > 3 * near


def test_only_the_newest_states_are_remembered():
    reward = StateEntropy(k=1, capacity=4)
    reward(np.full((4, 1), 100.0, dtype=np.float32), np.zeros((4, 1)))
    reward(np.zeros((4, 1), dtype=np.float32), np.zeros((4, 1)))
    assert reward(np.zeros((1, 1), dtype=np.float32), np.zeros((1, 1)))[0] == 0
    assert reward(np.full((1, 1), 100.0, dtype=np.float32), np.zeros((1, 1)))[0] > 0
