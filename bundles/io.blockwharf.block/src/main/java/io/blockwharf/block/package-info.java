/** Node drivers: files and devices of the host, the raw format, and devices without a medium. */
package io.blockwharf.block;
