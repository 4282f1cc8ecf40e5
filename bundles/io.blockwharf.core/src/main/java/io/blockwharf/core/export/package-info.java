/** The registry of exports with their life cycle, and the commands on exports. */
package io.blockwharf.core.export;
