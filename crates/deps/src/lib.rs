//! Holds the features of all libraries together while several branches add them; goes when they have landed.
