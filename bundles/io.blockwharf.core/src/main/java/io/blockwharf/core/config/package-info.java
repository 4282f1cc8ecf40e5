/**
 * {@code CONFIG_*}: what QEMU decides when it is compiled, decided while the daemon runs, from
 * configuration and from what the host offers.
 */
package io.blockwharf.core.config;
