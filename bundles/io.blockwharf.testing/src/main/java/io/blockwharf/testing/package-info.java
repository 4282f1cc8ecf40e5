/** Stand-ins for core in the unit tests of bundles. */
package io.blockwharf.testing;
