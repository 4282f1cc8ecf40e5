/**
 * The Gogo shell: commands for people and scripts, and where they can be typed.
 *
 * <p>Lists are ArrayLists: scripts call their methods, which Java allows for public classes only.
 */
package io.blockwharf.shell;
