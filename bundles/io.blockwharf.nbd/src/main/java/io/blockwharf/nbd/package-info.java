/** NBD server and export driver. */
package io.blockwharf.nbd;
