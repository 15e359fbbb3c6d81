//! Hosts together: observation, waves, commit rounds, going back.
