//! The Jenkins client against recorded answers of real controllers.
