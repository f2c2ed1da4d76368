//! A thin OpenStack client: what poolkeeper asks of Keystone, Nova, Glance and Neutron, and no more.
