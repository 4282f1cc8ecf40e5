/** QMP endpoint and command line. The only user of Jackson. */
package io.blockwharf.qmp;
