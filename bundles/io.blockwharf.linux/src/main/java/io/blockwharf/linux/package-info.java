/** What the JDK does not offer of Linux, as nouns: descriptors, sockets, event loops, mappings. */
package io.blockwharf.linux;
