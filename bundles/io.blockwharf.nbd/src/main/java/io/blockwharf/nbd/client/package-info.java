/** The other side: nodes that are exports of an NBD server. */
package io.blockwharf.nbd.client;
